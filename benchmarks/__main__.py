"""Run the leaderboard, make its tables, add a method."""

from benchmarks.board.cli import main

main()
