"""What turns a launched task into something that runs: real processes, containers, or a simulation."""
