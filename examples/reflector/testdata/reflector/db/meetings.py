from types import SimpleNamespace


class Meetings:
    rows: dict = {}

    def add(self, id, room_name):
        self.rows[id] = SimpleNamespace(
            id=id, room_name=room_name, num_clients=0, is_active=True
        )

    async def get_by_id(self, id):
        return self.rows.get(id)

    async def update_meeting(self, id, **changes):
        vars(self.rows[id]).update(changes)


meetings_controller = Meetings()
