"""The operator's command: `pinloop up | demo | device | pin | rules | config`."""
