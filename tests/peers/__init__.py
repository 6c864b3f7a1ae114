"""Third-party programs that the tests talk to: one folder a program, one file that starts it; must not know the product."""
