"""One server: each command takes the connection that suits it, and writes of a key keep their order."""
