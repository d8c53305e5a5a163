"""What a study is asked: how good a run is, what beats what, how large a network must be, what readers say."""
