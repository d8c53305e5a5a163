"""Who is in a study: the flow diagram and the tables of characteristics."""
