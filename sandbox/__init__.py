"""The parties' side: hospitals, the basic system and insurers as real servers with their own books.

An independent witness: it knows the words (`schemas`) and nothing else of ours, so that what it paid can be held
against what the hub believes.
"""
