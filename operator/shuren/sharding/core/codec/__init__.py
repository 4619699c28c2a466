"""The form in which a map travels: `publication` writes the nodes of one generation, `head` the small one that is watched.

Everything that is read checks itself: whatever the bytes, the result is a checked value or `errors.Malformed`.
"""
