def prove(done):
    return []
