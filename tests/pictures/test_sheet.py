from __future__ import annotations

import torch

from patchlight.pictures import contact_sheet


def test_sheet_shows_each_image_in_its_place() -> None:
    def flat(value: float) -> torch.Tensor:
        return torch.full((3, 32, 32), value)

    rows = [{"x": flat(-1), "y": flat(0)}, {"x": flat(0.5), "y": torch.full((1, 32, 32), 1.0)}]
    sheet = contact_sheet(rows, [[("x", "input"), ("y", "output")]])
    assert sheet.width == 2 * 16 + 2 * 128 + 8
    left, right = 16 + 64, 16 + 128 + 8 + 64
    top, bottom = sheet.height - 16 - 128 - 8 - 64, sheet.height - 16 - 64
    assert [sheet.getpixel(p) for p in ((left, top), (right, top), (left, bottom), (right, bottom))] == [
        (0, 0, 0), (127, 127, 127), (191, 191, 191), (255, 255, 255),
    ]  # fmt: skip
    assert sheet.getpixel((4, 4)) == (255, 255, 255)
