"""The portal: the pages of every user under `/portal/`, for their own things only."""
