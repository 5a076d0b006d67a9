"""Trial: policies tried without traffic - their tests, one request explained, recorded traffic replayed."""
