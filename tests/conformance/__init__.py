"""What the plan language promises, judged by somebody who does not know the engine."""
