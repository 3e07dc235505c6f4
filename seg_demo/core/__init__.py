"""What everything stands on: types, errors, settings, storage. Imports numpy and the standard library only."""
