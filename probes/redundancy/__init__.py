"""What hardly changes the residual stream."""
