"""Actions of an image of your own; put yours in their place."""

from execution import Context, action


@action("greet.compose")
def compose(ctx: Context, name: str) -> str:
    """Think of a greeting."""
    ctx.progress(50, "thinking of a greeting")
    return f"Hello, {name}!"


@action("greet.post")
def post(text: str) -> dict[str, object]:
    """Wait for something outside, as what runs in the queue `io` does."""
    return {"posted": text, "letters": len(text)}
