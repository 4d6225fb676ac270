"""The leaderboard: tasks, methods, lines of results, and the pages made from them."""
