"""From the scores of a video's snippets to its segments."""
