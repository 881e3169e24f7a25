"""How fast the service is, measured from outside and against yardsticks that ran in the same minute."""
