"""One command a file, each with a function `run` that typer can read; imported only when the command is called."""
