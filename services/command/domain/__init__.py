"""The business decisions. Pure: time, ids and prices are passed in as data; nothing here knows HTTP or SQL.

Each aggregate is one module, laid out alike: states, commands, rejections, evolve, decisions, snapshot.
"""
