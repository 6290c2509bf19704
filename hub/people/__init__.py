"""What people do where the hub could not finish by itself: operators, their actions, dead letters."""
