"""What is known of a sorted unit: its metrics and what the curator called it?"""
