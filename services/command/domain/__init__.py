"""What the business decides. Pure: time, ids and prices come in as data; nothing here knows HTTP or SQL.

Each aggregate is one module in one order: states, commands, rejections, evolve, decisions, snapshot.
"""
