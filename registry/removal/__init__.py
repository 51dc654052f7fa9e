"""The one door through which things go, and through which they come back.

A writer says in an intent what it is about to need; a remover records what it takes, moves it to the trash,
and looks at the intents and then at the links before it is done. ARCHITECTURE.md, "Removing things", has the
protocol and what each step is there for.
"""
