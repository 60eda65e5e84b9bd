"""The interactive page of `patchlight-demo`."""
