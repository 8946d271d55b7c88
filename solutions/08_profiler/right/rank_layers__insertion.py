# Way: puts one after the other in its place
def rank_layers(changes, count=5):
    row = []
    for name, change in changes.items():
        if change != change or change in (float("inf"), float("-inf")):
            continue
        place = len(row)
        while place > 0 and row[place - 1][1] > change:
            place -= 1
        row.insert(place, (name, change))
    many = min(count, len(row) // 2)
    lowest = [row[n][0] for n in range(many)]
    highest = [row[len(row) - 1 - n][0] for n in range(many)]
    return lowest, highest
