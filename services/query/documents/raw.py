"""Takes the documents out of a server's answer without decoding them. https://bsonspec.org/spec.html"""

from typing import Final

# {"cursor": {"firstBatch": [ ... ], "id": ... as the server has spelled it since cursors have been
_CURSOR: Final = b"\x03cursor\x00"
_BATCH: Final = b"\x04firstBatch\x00"
_ID: Final = b"\x12id\x00"
_ID_LENGTH: Final = 8
_LENGTH: Final = 4
_DOCUMENT: Final = 0x03
_BEGIN: Final = _LENGTH + len(_CURSOR) + _LENGTH + len(_BATCH)


def first_batch(answer: bytes) -> tuple[list[bytes], int]:
    """The documents of a cursor's first batch, each as BSON, and the cursor's id: 0 when these are all.

    `ValueError` when the answer holds none.
    """
    fits = answer.startswith(_CURSOR, _LENGTH) and answer.startswith(_BATCH, _BEGIN - len(_BATCH))
    if not fits:
        raise ValueError("the answer does not begin with a cursor's first batch")
    documents: list[bytes] = []
    place = _BEGIN + _LENGTH
    # the elements of an array: a type, the index as text, then the document, which begins with its length
    while answer[place] == _DOCUMENT:
        begin = answer.index(b"\x00", place + 1) + 1
        place = begin + int.from_bytes(answer[begin : begin + _LENGTH], "little")
        documents.append(answer[begin:place])
    begin = answer.index(_ID, place) + len(_ID)
    return documents, int.from_bytes(answer[begin : begin + _ID_LENGTH], "little", signed=True)
