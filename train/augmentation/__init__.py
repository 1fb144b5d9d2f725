"""What happens to training images at random, and how often each is drawn."""
