"""What training loops of other projects need to run our networks.

A thing belongs here if it serves a package that this one does not install.
Nothing outside this folder imports it.
"""
