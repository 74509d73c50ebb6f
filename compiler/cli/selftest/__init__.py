"""`snncc selftest`: does this installation compute what it should, and what is it?"""
