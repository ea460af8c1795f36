"""What every adapter and router promises, checked for a class of anybody's."""
