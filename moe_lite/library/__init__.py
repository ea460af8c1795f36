"""Libraries of experts: experts trained apart, kept, and put to use together.

A thing belongs here if it works on several trained experts at once.
"""
