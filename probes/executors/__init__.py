"""Where questions are answered: in threads of the app, or in a process of their own."""
