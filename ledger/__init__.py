"""Evidence: an append-only log whose every entry can be proved, and whose every change shows.

Must not know twins, protocols or the server; nothing here imports another folder of the project.
"""
