"""The live board: running and finished requests, changes of the pool and long tasks, as they are.

samples          the requests of this process, as JSON
sample_exchange  samples of other processes, over the channel layer
merged_view      the samples of all processes as one view
names            names of users and prefixes of keys
news             changes of tokens, breakers and tasks, read from the database
news_reader      reads them again and again while somebody watches
watch            all sources together, from the first viewer to the last
frames           one frame of the board, within its size
board            the viewers of a process, and the loop that makes their frames
viewer_socket    one viewer's WebSocket
viewer_access    who may watch
live_pages       the page, and the frames for browsers without a WebSocket
live_labels      the words of the page's script
"""
