"""What keeps a store in order while it serves: policies over core, and over the store itself."""
