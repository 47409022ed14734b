"""Extracts the documents from a server's reply without decoding them. https://bsonspec.org/spec.html"""

from typing import Final

# {"cursor": {"firstBatch": [ ... ], "id": ... as the server has always written it
_CURSOR: Final = b"\x03cursor\x00"
_BATCH: Final = b"\x04firstBatch\x00"
_ID: Final = b"\x12id\x00"
_ID_LENGTH: Final = 8
_LENGTH: Final = 4
_DOCUMENT: Final = 0x03
_BEGIN: Final = _LENGTH + len(_CURSOR) + _LENGTH + len(_BATCH)


def first_batch(answer: bytes) -> tuple[list[bytes], int]:
    """The documents of a cursor's first batch, each as BSON, and the cursor's id: 0 if there are no more.

    `ValueError` if the reply is not such a batch.
    """
    fits = answer.startswith(_CURSOR, _LENGTH) and answer.startswith(_BATCH, _BEGIN - len(_BATCH))
    if not fits:
        raise ValueError("the reply does not start with a cursor's first batch")
    documents: list[bytes] = []
    place = _BEGIN + _LENGTH
    # the elements of an array: a type, the index as text, then the document, which starts with its length
    while answer[place] == _DOCUMENT:
        begin = answer.index(b"\x00", place + 1) + 1
        place = begin + int.from_bytes(answer[begin : begin + _LENGTH], "little")
        documents.append(answer[begin:place])
    begin = answer.index(_ID, place) + len(_ID)
    return documents, int.from_bytes(answer[begin : begin + _ID_LENGTH], "little", signed=True)
