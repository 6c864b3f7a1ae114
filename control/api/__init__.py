"""HTTP and WebSocket faces of the server."""
