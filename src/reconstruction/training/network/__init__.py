"""What learns, and what is done to its inputs."""
