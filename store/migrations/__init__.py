"""Alembic migrations: small named steps; old code keeps working between a `pre` and a `post` step."""
