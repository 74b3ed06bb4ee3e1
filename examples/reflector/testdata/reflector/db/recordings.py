class Recordings:
    keys: list = []

    async def get_by_object_key(self, bucket_name, object_key):
        return (bucket_name, object_key) if (bucket_name, object_key) in self.keys else None


recordings_controller = Recordings()
