"""The live board: running and finished requests, changes of the pool and long tasks, as they are.

samples        the requests of this process, as JSON
news           changes of tokens, breakers and tasks, read from the database
names          names of users and prefixes of keys
exchange       samples of other processes, over the channel layer
frames         one frame of the board, within its size
board          the loop of a process that somebody watches
viewer_socket  one viewer's WebSocket
viewer_access  who may watch
pages          the page, and the frame for browsers without a WebSocket
"""
