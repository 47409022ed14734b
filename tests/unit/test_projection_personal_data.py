"""Fetching the keys of personal data."""

import pytest

from services.projection.faults import TransientError
from services.projection.personal_data import Keys
from tests.projecting import serving_keys


@pytest.mark.parametrize("first", ["", "old"], ids=["read while being written", "expired"])
async def test_a_wrong_token_is_read_again(first: str) -> None:
    async with serving_keys() as served:
        text = served.encrypted("ada", "Ada")
        tokens = [first, "old", served.token]
        async with Keys(served.url, lambda: tokens.pop(0)) as keys:
            with pytest.raises(TransientError):
                await keys.reveal(["ada"])
            reveal = await keys.reveal(["ada"])
    assert reveal("ada", text) == "Ada"
