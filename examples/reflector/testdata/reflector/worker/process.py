from reflector.db.recordings import recordings_controller


class Task:
    def delay(self, bucket_name, object_key):
        recordings_controller.keys.append((bucket_name, object_key))


process_recording = Task()
