"""What the builders share: the stored features, the reading of pictures, and the error a user can cure."""
