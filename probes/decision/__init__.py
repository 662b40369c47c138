"""What a decision between plans needs: their names and notes, all that is known of them, and tests of one against another."""
