"""How fast it is: `make speed` measures it against yardsticks of the same run; README and docs show the records."""
