"""The protocol from outside: real sockets, a real server process, nothing imported from it."""
