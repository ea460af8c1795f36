"""Loops of other people: what they need to train and evaluate our networks.

A thing belongs here if it needs a package that this one does not install.
Nothing else imports this folder.
"""
