"""What moves: feeds of numbered messages, filled while somebody reads them, and the socket that carries them."""
