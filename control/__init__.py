"""Control: commands, the composition root, the server, the command line and the console; may import every folder."""
