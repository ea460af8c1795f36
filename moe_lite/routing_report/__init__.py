"""The routing report: numbers, pictures of them, and a page with both.

numbers    what follows from how data sets are routed
experts    what follows from experts' own parameters
sentences  what routers make of the tokens of a few examples
figures    the pictures
page       HTML that stands alone
reporting  all of it, of a run
"""
